"""Which planted faults the properties kill, whom they accuse wrongly, how close errors come to bounds."""
