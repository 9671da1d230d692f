"""LoRA adapters, from a folder of peft's to the decoder's products."""
