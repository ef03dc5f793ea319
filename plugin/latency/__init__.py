"""How long does a user wait? Streaming requests under load, model by model, with intervals."""
