"""What the matrix, the ratios and the costs share: processes, and what a result depends on."""
