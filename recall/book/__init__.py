"""The book: executes chapters, stamps and compares them, and serves their pages without a network."""
