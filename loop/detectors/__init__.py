"""Signs of gaming: pure functions over what the verifier, the gateway and the supervisor recorded themselves."""
