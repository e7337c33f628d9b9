"""The fraud example: the transactions, their contract, and customers who send them."""
