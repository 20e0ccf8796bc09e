"""What the grid allows and pays: limits, tariffs, and discharge that a vehicle has signed for."""
