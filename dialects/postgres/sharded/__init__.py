"""Sessions of a sharded database: statements that one server alone cannot answer, over several server connections."""
