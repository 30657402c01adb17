"""How a conversation becomes one text: what stands around each role's messages, and where an answer ends.

GPT-2 has learned no such form, so whoever serves it chooses one: `plain`, or a JSON file such as

    {
      "system": "{content}\\n\\n",
      "user": "User: {content}\\n",
      "assistant": "Assistant: {content}\\n",
      "answer": "Assistant:",
      "stop": ["\\nUser:"]
    }

`answer` comes after the last message, and the model continues it. A role that is not there is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from picogpt.errors import PicoGPTError, shown
from picogpt.files import read_object

ROLES = ("system", "user", "assistant")
CONTENT = "{content}"


class Message(NamedTuple):
    role: str
    content: str


class ChatTemplate(NamedTuple):
    roles: dict[str, str]  # a text with `{content}` in it for each
    answer: str
    stops: Sequence[str]

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that the answer continues; raises `PicoGPTError` for a role that has no form."""
        for message in messages:
            if message.role not in self.roles:
                raise PicoGPTError(f"there is no role {shown(message.role)}; there are {', '.join(self.roles)}")
        texts = (self.roles[message.role].replace(CONTENT, message.content, 1) for message in messages)
        return "".join([*texts, self.answer])


PLAIN = ChatTemplate(
    {"system": f"{CONTENT}\n\n", "user": f"User: {CONTENT}\n", "assistant": f"Assistant: {CONTENT}\n"},
    "Assistant:",
    ["\nUser:"],
)


def read_template(name: str) -> ChatTemplate:
    """`plain`, or the template in a file; raises `PicoGPTError` for a file that is none."""
    if name == "plain":
        return PLAIN
    path = Path(name)
    content = read_object(path)
    roles = {role: content[role] for role in ROLES if role in content}
    stop = content.get("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    answer = content.get("answer", "")
    is_text = isinstance(answer, str) and isinstance(stops, list) and all(isinstance(s, str) and s for s in stops)
    if not is_text or content.keys() - {*ROLES, "answer", "stop"}:
        raise PicoGPTError(f'{path} should have "answer", a string, "stop", a list of strings, and the roles')
    if not roles or not all(isinstance(text, str) and text.count(CONTENT) == 1 for text in roles.values()):
        raise PicoGPTError(f"{path} should have for each role, {', '.join(ROLES)}, a string with {CONTENT} in it once")
    return ChatTemplate(roles, answer, stops)
