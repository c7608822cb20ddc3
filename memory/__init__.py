"""Conversation memory: LangChain messages in Redis, with a fallback while Redis is away.

``conversation_memory`` takes its settings from the environment (``REDIS_URL``,
``MEMORY_MAX_MESSAGES``, ``MEMORY_TTL_HOURS``) on first use; nothing is opened by importing it.
"""

from memory.environment import EnvironmentMemory
from memory.facade import RedisConversationMemory

conversation_memory: RedisConversationMemory = EnvironmentMemory()

__all__ = ["RedisConversationMemory", "conversation_memory"]
