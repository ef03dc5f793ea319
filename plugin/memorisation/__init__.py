"""What did the tune memorise? Training rows beside cases, completions and likelihoods."""
