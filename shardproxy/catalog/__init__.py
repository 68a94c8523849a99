"""What the tables and functions of a database are, as read from its catalog by the dialect."""
