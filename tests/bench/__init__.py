"""Speed, measured as contests: ours beside what one would otherwise take, alternating in one run (`make bench`)."""
