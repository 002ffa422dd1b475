"""What a recovery drill plans, counts and concludes; how to kill is for `aiplat.cluster.drill`."""
