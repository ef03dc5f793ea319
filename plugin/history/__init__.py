"""Results that are there already: other tools' scores, and earlier runs, compared without a run.

Nothing here loads a model or asks a judge. What is compared becomes a run folder of its own, with
journal, tables and report, like any other.
"""
