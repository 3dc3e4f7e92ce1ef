"""SVG plots: each is a table of plain values and a drawing of it."""
