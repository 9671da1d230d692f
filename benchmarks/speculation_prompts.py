"""What ``benchmarks.speculation`` asks: twenty ordinary questions, and tasks whose answers repeat their prompts."""

from __future__ import annotations

_TALE = (
    "The heron stood at the edge of the water for a long time before it moved. When it did, it took one slow step, then"
    " another, and lowered its head until the tip of its bill nearly touched the surface. Nothing in the pond seemed to"
    " notice. A frog sat on a lily pad a few feet away, and a turtle was warming itself on a log near the far bank. The"
    " keeper of the pond, an old man named Tobias Wren, watched all of this from a bench beneath the willow tree."
)

_CODE = """def total_price(items, tax_rate):
    total = 0
    for item in items:
        price = item["price"] * item["quantity"]
        total += price
    return total * (1 + tax_rate)


def average_price(items):
    if not items:
        return 0
    return sum(item["price"] for item in items) / len(items)
"""

_MINUTES = """- The library opens at nine on weekdays and at ten on Saturdays.
- The reading room on the second floor is closed until the end of March.
- Books may be borrowed for four weeks, films for one week.
- Whoever loses a card pays five dollars for a new one.
- The next book sale is on the first Sunday in May, from noon to four."""

_JSON = """{"orders": [
  {"id": 1041, "customer": "Dana Whitfield", "item": "oak bookcase", "quantity": 1, "city": "Portland"},
  {"id": 1042, "customer": "Marcus Oyelaran", "item": "desk lamp", "quantity": 2, "city": "Tacoma"},
  {"id": 1043, "customer": "Ines Calderon", "item": "wool rug", "quantity": 1, "city": "Salem"}
]}"""

COPIES = [
    f"Repeat the following text word for word:\n\n{_TALE}",
    f"Here is some code:\n```python\n{_CODE}```\nWrite the same code again, exactly as it is.",
    f"Write this list again without any change:\n\n{_MINUTES}",
    f"Print this JSON again, exactly as it is:\n\n{_JSON}",
    f"Here is some code:\n```python\n{_CODE}```\nWrite it again with `price` renamed to `cost`.",
    f"Copy this text, and correct mistakes in it if there are any:\n\n{_TALE}",
]

CHATS = [
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain photosynthesis to a child.",
    "Give me three tips for learning to cook.",
    "Why is the sky blue?",
    "What is the difference between a virus and a bacterium?",
    "Suggest a name for a small bakery and explain it.",
    "How do I convince my cat to use the scratching post?",
    "Write a polite email to a neighbour about loud music.",
    "What should I see on a weekend in Rome?",
    "Tell me a story about a robot who is afraid of water.",
    "How does a bicycle stay upright?",
    "What are the advantages of working from home?",
    "Describe the taste of a mango to someone who never had one.",
    "Write a Python function that reverses a string.",
    "Who was Marie Curie?",
    "Give me a recipe for a simple tomato soup.",
    "How can I sleep better?",
    "What happened in the year 1969?",
    "Explain what inflation is in two sentences.",
]
