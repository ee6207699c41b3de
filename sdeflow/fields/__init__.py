"""What is known about clean data and noise given a noisy point, exactly or by learning."""
