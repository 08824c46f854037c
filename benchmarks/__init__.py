"""What orphanguard costs, as ratios from one run: ``make bench``. See README.md."""
