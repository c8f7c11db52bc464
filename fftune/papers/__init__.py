"""Both papers as declarations: what every table and figure needs, and how it is built."""
