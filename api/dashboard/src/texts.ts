// The words of the page, in the one language there is so far. A translation is a file of the same shape.
import { en, type Texts } from "./texts.en";

export const t: Texts = en;
