"""What happens in a conversation, told to everybody who follows it: each event once, in order."""
