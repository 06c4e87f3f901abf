"""Twenty questions of a reader, and where the first screen of a page answers each.

A row: the question, the page, what holds the answer, and words that the answer has. The first screen is that of a desk,
1280 by 800 pixels; of a chapter also that of a phone, where its question and its first finding are in sight.
"""

CHAPTERS = ("urban_sound", "sleepiness", "accents", "scenes_and_instruments", "playback")

QUESTIONS = (
    ("What is the book about?", "chapters/index", "article p", "attention mechanism gives each moment"),
    ("For whom is it, and what do I need to know?", "chapters/index", "article p", "For whom"),
    ("Is the sound real, and are the networks large?", "chapters/index", "article p", "synthetic unless a page says"),
    ("Where do I begin?", "chapters/index", "article p a", "five minutes"),
    ("What does attention compute?", "chapters/primer", "article p", "From a wave to one vector"),
    ("What did chapter 1 find?", "chapters/urban_sound", ".aa-findings li", "%"),
    ("What did chapter 2 find?", "chapters/sleepiness", ".aa-findings li", ""),
    ("What did chapter 3 find?", "chapters/accents", ".aa-findings li", "%"),
    ("What did chapter 4 find?", "chapters/scenes_and_instruments", ".aa-findings li", "%"),
    ("What did chapter 5 find?", "chapters/playback", ".aa-findings li", ""),
    ("What do the runs of a chapter not show?", "chapters/urban_sound", ".aa-findings .aa-open", ""),
    ("Which mechanism scores highest?", "chapters/urban_sound_results", "figure img", ""),
    ("Do restricted patterns help with unseen sources?", "scenes_results", ".aa-findings li", "unseen source: none of"),
    ("What was found about all mechanisms?", "chapters/comparison", ".aa-findings li", "reliably"),
    ("What is wrong with softmax?", "chapters/from_softmax_to_sparsemax", "article p", "exactly none"),
    ("What is a density over time?", "chapters/from_weights_to_densities", "article p", "density"),
    ("How do I hear my own recordings?", "your_sounds", "article", "folder"),
    ("How do I use a trained model?", "chapters/use_a_trained_model", "article p", "model"),
    ("Which published commands work here?", "parity", "article p", "commands"),
    ("What does a word mean?", "glossary", "article p", "Words of the field"),
    ("Which part of the library does what?", "api/index", "article table", "floor"),
)
