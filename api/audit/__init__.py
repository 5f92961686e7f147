"""The auditor's pages, and what they ask of: an audit file of each book."""
