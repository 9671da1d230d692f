"""OpenAI's Responses API. Nothing is stored: a conversation comes whole with each request."""
