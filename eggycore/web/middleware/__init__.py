"""What happens around every request: identity, problem answers, metrics and the access line, fused into one layer."""
