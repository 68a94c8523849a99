"""What a statement is, from its digest: tokens -> kinds -> effects and reads -> ``analyse``."""
