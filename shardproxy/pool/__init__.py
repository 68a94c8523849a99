"""Server connections and who may use them. Knows callables, not protocols."""
