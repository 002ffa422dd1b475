"""What each request used and each replica was there for: counted once, through crashes."""
