"""model.pt → verified bundle. The only package, besides models and train, that imports torch."""
