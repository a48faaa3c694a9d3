"""What a step is given: the plan of its pairs and context, and their tensors."""
