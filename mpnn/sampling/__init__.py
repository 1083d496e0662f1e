"""Parts of a graph drawn at random: neighbours, walks."""
