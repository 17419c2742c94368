"""What turns the outside world into signals: one file per kind of trigger."""
