"""Finding parameters with Optuna, on images and seeds that no reported figure uses."""
