"""Price plans, whom they apply to, running costs, and prices at stations and vehicles (block I, K15 to K19)."""
