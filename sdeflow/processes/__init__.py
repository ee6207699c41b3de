"""How data are noised: choose a schedule (alpha, sigma), ask it for rates, times and grids of times."""
