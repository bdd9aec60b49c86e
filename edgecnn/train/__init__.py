"""Recipes: pictures and labels → a checkpoint that ``edgecnn export`` needs no flag for.

trainer.py tells the story; it imports torch.
"""
