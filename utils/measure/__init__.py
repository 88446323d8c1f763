"""How good a model is: ELBO, log p(x), code priors."""
