"""A chat in Chainlit, as its documentation has it."""

import os

import chainlit as cl
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="benchmark", base_url=os.environ["PROVIDER"], api_key="none")


@cl.on_message
async def on_message(message: cl.Message) -> None:
    answer = cl.Message(content="")
    async for chunk in model.astream([("user", message.content)]):
        await answer.stream_token(chunk.content)
    await answer.send()
