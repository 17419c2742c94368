"""The operator console: what `fleet` opens in a terminal."""
