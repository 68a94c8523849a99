"""Plans of statements that touch more than one server: read the statement's tree, edit its text at byte offsets."""
