"""What a trained network is like."""
