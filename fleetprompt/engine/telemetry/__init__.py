"""What an engine tells monitoring systems, fed from the facts that it commits; nothing here is written to the store."""
