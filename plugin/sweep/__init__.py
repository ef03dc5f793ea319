"""Find the best of many checkpoints with few calls of the judge, and confirm it on other cases.

The policy here is pure: it takes names, cases and scores, and asks no model and no judge itself.
"""
