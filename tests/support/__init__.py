"""What tests share: processes to run code in, waiting, and the search for what was left behind."""
