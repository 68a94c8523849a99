"""One client's state that must follow it from server connection to server connection: settings, prepared statements."""
