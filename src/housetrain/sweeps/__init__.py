"""Many recipes on the same images: trials, their leaderboard, and the search among them."""
