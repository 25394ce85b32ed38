// Reads a JSON array of LaTeX strings on stdin; prints an array of null or an error's message.
import { readFileSync } from "node:fs";
import katex from "katex";

const options = { displayMode: true, throwOnError: true, strict: "error", trust: false };

function problem(latex) {
  try {
    katex.renderToString(latex, options);
    return null;
  } catch (error) {
    return String(error.message);
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(problem)));
