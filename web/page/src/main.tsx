import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "mnemosio-client";
import { App } from "./App.tsx";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/transcript.css";
import "./styles/composer.css";
import "./styles/dialog.css";
import "./styles/markdown.css";

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App client={connect()} />
    </StrictMode>,
  );
}
