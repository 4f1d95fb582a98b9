"""The plots of the English stories; `tiny_stories` fills them.

A plot is a list of stages and a stage is a list of alternative wordings. "a~" stands for "a" or
"an", chosen by the word that follows.
"""

from __future__ import annotations

from tiny_words import KINDS

INTRO = [
    "Once upon a time there was a~ {adj} {kind} named {n}. {He} lived {home}.",
    "{n} was a~ {adj} {kind} who lived {home}.",
    "There was once a~ {adj} {kind} called {n}. {He} lived {home}.",
    "A~ {adj} {kind} named {n} lived {home}.",
    "Long ago a~ {adj} {kind} called {n} lived {home}. {He} was often {adj2}.",
]
DAY = ["One {weather} {part}", "On a~ {weather} {part}"]
END_GOOD = [
    "{n} was very {good}.",
    "That night {n} fell asleep with a smile.",
    "From that day on {n} and {f} were best friends.",
    "{n} and {f} were both {good}.",
    "{n} never forgot that day.",
    "{f} smiled, and {n} felt {good}.",
]

PLOTS: dict[str, list[list[str]]] = {
    "lost": [
        [
            "{n} had a~ {oadj} {obj}. {He} took it everywhere.",
            "{His} favourite thing was a~ {oadj} {obj}.",
        ],
        [
            "{day} the {obj} was gone. {n} was very {bad}.",
            "{day} {n} could not find the {obj}, and {he} was {bad}.",
        ],
        [
            "{He} looked {pl} and {pl2}, but the {obj} was not there.",
            "First {he} searched {pl}. Then {he} searched {pl2}. There was no {obj}.",
        ],
        [
            '"Why are you {bad}?" asked {f}. "I have lost my {obj}," said {n}.',
            '{n} met {f}. "Have you seen my {obj}?" {he} asked.',
        ],
        [
            '{f} thought for a moment. "I saw a~ {obj} {pl3}," {fhe} said.',
            '"Let us look {pl3}," said {f}, and they went there together.',
        ],
        [
            'They found the {oadj} {obj} {pl3}. "Thank you, {f}!" said {n}.',
            "And indeed, the {obj} was {pl3}. {n} laughed and thanked {f}.",
        ],
    ],
    "share": [
        [
            "{day} {n} sat {pl} with {food}. {He} was just about to eat.",
            "{day} {n} had {food} for lunch and sat down {pl}.",
        ],
        [
            "Then {f} came along. {f} had nothing to eat and looked {bad}.",
            "Soon {n} saw {f}, who was hungry and {bad}.",
        ],
        [
            '"Are you hungry?" asked {n}. "Yes," said {f}, "I have not eaten since yesterday."',
            '"I am so hungry," said {f}. "I forgot my lunch at home."',
        ],
        [
            "{n} shared the food with {f}. They ate slowly and talked about {topic}.",
            '"Then we will share," said {n}. {He} gave {f} one half and kept the other half.',
        ],
        [
            "The next day {f} brought {food2}, and they shared again.",
            "A week later {f} invited {n} and gave {him} {food2}.",
        ],
    ],
    "storm": [
        ["{n} was afraid of storms.", "{n} did not like thunder at all."],
        [
            "{day} dark clouds came over the hills, and the wind began to blow.",
            "{day} it began to rain hard, and thunder rolled over the roofs.",
        ],
        ["{n} hid {pl} and was very {bad}.", "{He} ran and hid {pl}."],
        [
            '{f} heard {him} crying and sat down beside {him}. "Do not be afraid," {fhe} said.',
            'Then {f} came with a lamp. "A storm is only wind and water," {fhe} said.',
        ],
        [
            "They counted the seconds between the lightning and the thunder.",
            "Together they sang a song about {topic} until the thunder grew quiet.",
        ],
        [
            "At last the storm was over, and the sun came out.",
            "After an hour the clouds went away, and a rainbow stood in the sky.",
        ],
    ],
    "make": [
        [
            "{f} had a birthday soon, and {n} wanted to make {thing} for {fhim}.",
            "{n} wanted to surprise {f} with {thing}.",
        ],
        ["For this {he} needed {parts}.", '"I need {parts}," thought {n}.'],
        ["{day} {he} went to the market and bought {parts}.", "{day} {he} found everything {pl}."],
        [
            "It was not easy to {step}, but {n} was patient.",
            "{He} began to {step}. The first try went wrong, so {he} started again.",
        ],
        [
            "In the evening the work was done. {n} gave {f} {thing}.",
            "After three hours {thing} was ready, and {n} brought it to {f}.",
        ],
        [
            '"It is wonderful!" said {f}. "Did you make it yourself?"',
            "{f} was {good2} and thanked {n} many times.",
        ],
    ],
    "learn": [
        ["{n} wanted to learn to {skill}.", "More than anything {n} wanted to {skill}."],
        [
            "{day} {he} tried for the first time, but it was hard. {He} was {bad}.",
            "{day} {he} tried, but {he} made many mistakes and felt {bad}.",
        ],
        ['"I will never learn it," {he} said.', '"It is too hard for me," said {n}.'],
        [
            '{f} said, "Nobody can do it on the first day. Try again."',
            'But {f} said, "I also made mistakes when I began. I will help you."',
        ],
        [
            "So {n} practised {skilling} every day for {num} weeks.",
            "Every morning {n} and {f} went out and practised {skilling}.",
        ],
        [
            "In the end {n} could {skill} very well.",
            "One day it worked. {n} could {skill}, and {f} clapped {fhis} hands.",
        ],
    ],
    "rescue": [
        [
            '{day} {n} was walking {pl} when {he} heard a small voice. "Help!"',
            "{day} {n} heard someone call for help {pl}.",
        ],
        [
            "It was {f}. {fHis} foot was stuck under a heavy stone.",
            "{f} had fallen into a deep hole and could not get out.",
        ],
        [
            "{n} was {adj}, and {he} did not run away. {He} fetched a long rope.",
            '"Wait, I will help you," said {n}, and {he} brought a strong branch.',
        ],
        [
            "{He} pulled and pulled, and at last {f} was free.",
            "It took a long time, but then {f} was safe.",
        ],
        [
            '"You saved me," said {f}. "I will never forget it."',
            '"Thank you," said {f}. "One day I will help you too."',
        ],
        [
            "Many days later {n} was lost {pl2}, and {f} showed {him} the way home.",
            "In winter {n} had no food, and {f} brought {him} {food}.",
        ],
    ],
    "broken": [
        [
            "{day} {n} dropped {his} {oadj} {obj}, and it broke.",
            "{day} the {oadj} {obj} of {n} fell down and broke into two parts.",
        ],
        [
            "{n} was {bad}, because the {obj} was a present from {his} {family}.",
            "{He} was {bad}. The {obj} had belonged to {his} {family}.",
        ],
        [
            "{He} put the parts into a bag and went to {f}, the {job}.",
            '"{f} the {job} can repair everything," said {his} {family}.',
        ],
        [
            '{f} looked at the {obj} carefully. "Come back in {num} days," {fhe} said.',
            '"This is not difficult," said {f}. {fHe} took some glue and began to work.',
        ],
        ["When {n} came back, the {obj} looked like new.", "Soon the {obj} was whole again."],
        [
            "{n} paid with {food}, and {f} was {good2}.",
            '"How can I thank you?" asked {n}. "Just be careful," said {f}.',
        ],
    ],
    "plant": [
        ["{day} {n} found a small seed {pl}.", "{f} gave {n} a small brown seed."],
        [
            "{He} planted it in the ground and gave it water every morning.",
            "{He} put it into a pot with dark earth and watered it each day.",
        ],
        [
            "For {num} weeks nothing happened, and {n} became {bad}.",
            'Nothing happened for a long time. "Maybe it is dead," said {n}.',
        ],
        [
            '"Be patient," said {f}. "Good things need time."',
            '"Wait a little longer," said {f}. "It is growing under the ground."',
        ],
        ["Then a green leaf came out of the earth.", "At last two tiny leaves appeared."],
        [
            "In summer there was a~ {plant} in front of the house, and everyone admired it.",
            "A year later it was a beautiful {plant}, and bees flew around it.",
        ],
    ],
    "quarrel": [
        [
            "{n} and {f} were friends, but {daylow} they had a quarrel about a~ {obj}.",
            "{day} {n} and {f} both wanted the same {oadj} {obj}.",
        ],
        [
            '"It is mine!" shouted {n}. "No, it is mine!" shouted {f}.',
            "They shouted at each other, and {f} went away without a word.",
        ],
        [
            "In the evening {n} sat alone {pl} and felt {bad}.",
            "At home {n} could not play. {He} was {bad} and thought about {f}.",
        ],
        [
            '"A friend is worth more than a~ {obj}," said {his} {family}.',
            '"I was wrong," {he} thought. "{f} is more important than a~ {obj}."',
        ],
        [
            'The next morning {n} went to {f} and said, "I am sorry."',
            '{n} wrote a letter with two words, "I\'m sorry", and took it to {f}.',
        ],
        [
            '"I am sorry too," said {f}, and they played with the {obj} together.',
            "{f} smiled and gave {him} a hug.",
        ],
    ],
    "shop": [
        [
            "{day} {n} went to the market with {c1} coins.",
            "{day} {his} {family} gave {n} {c1} coins for the market.",
        ],
        ["{He} bought {food} for {c2} coins.", "There {he} saw {food}. It cost {c2} coins."],
        ["Now {he} had {c3} coins left.", "So {he} paid and still had {c3} coins."],
        [
            'On the way home {he} met {f}, who looked {bad}. "I have lost my money," said {f}.',
            "Near the gate stood {f}, who wanted {food2} but had no money.",
        ],
        [
            "{n} gave {fhim} one coin. Now {he} had {c4} left.",
            '"Take one of my coins," said {n}. Then {he} had {c4} left.',
        ],
    ],
    "journey": [
        ["{n} had never seen the {far}.", "All {his} life {n} had dreamed of the {far}."],
        [
            "{day} {he} packed {food} and a~ {oadj} {obj} and left home.",
            "{day} {he} said goodbye to {his} {family} and set out with {food} in {his} bag.",
        ],
        [
            "{He} walked for {num} days. At night {he} slept under the stars.",
            "The road was long, and soon {n} was tired.",
        ],
        [
            'On the road {he} met {f}. "Where are you going?" asked {f}. "To the {far}," said {n}.',
            "On the third day {n} met {f}, who wanted to see the {far} too.",
        ],
        [
            "So they went on together and told each other stories about {topic}.",
            '"Then we have the same way," said {f}, and they walked on together.',
        ],
        [
            "When they finally saw the {far}, they stood still and said nothing. It was beautiful.",
            'At last they stood before the {far}. "It was worth it," said {n}.',
        ],
    ],
    "race": [
        [
            "{day} there was a race {pl}. {n} and {f} wanted to win.",
            '{f} said to {n}, "I am faster than you." So {daylow} they had a race {pl}.',
        ],
        ["At first {f} was far ahead.", "{f} ran quickly and laughed at {n}."],
        [
            "But then {f} fell over a root and hurt {fhis} knee.",
            "But {f} became tired and had to stop.",
        ],
        [
            "{n} could win now. But {he} stopped and helped {f} to stand up.",
            "{n} did not run on. {He} gave {f} some water and waited.",
        ],
        [
            "They crossed the line together, and everybody clapped.",
            "Hand in hand they reached the end, and both got a~ {obj} as a prize.",
        ],
    ],
    "secret": [
        [
            "{day} {n} found a~ {oadj} {obj} {pl}.",
            "{day} something shone {pl}. It was a~ {oadj} {obj}.",
        ],
        [
            '"Whose {obj} is this?" {he} wondered.',
            "It was not {his} {obj}, so {he} asked everyone.",
        ],
        [
            "{n} wanted to keep it, but that would not be honest.",
            "It was a fine {obj}, and nobody had seen {him}. Still, {he} did not keep it.",
        ],
        [
            'Then {he} saw {f}, who was {bad}. "My {obj} is gone," said {f}.',
            '{f} the {job} came along and looked everywhere. "I have lost my {obj}," {fhe} said.',
        ],
        ['"Here it is," said {n} and gave it back.', "{n} gave {fhim} the {obj} at once."],
        [
            "{f} was so {good2} that {fhe} gave {n} {food}.",
            '"You are honest," said {f}. "Please take {food} as a thank-you."',
        ],
    ],
}
TOPICS = [
    "the sea",
    "old kings",
    "distant stars",
    "summer",
    "brave sailors",
    "the moon",
    "dragons",
    "their families",
    "snow",
    "faraway countries",
    "giants",
    "the harvest",
    "music",
    "dreams",
]
FAMILY = ["mother", "father", "grandmother", "grandfather", "sister", "brother", "uncle", "aunt"]
FAR = [
    "sea",
    "high mountains",
    "great desert",
    "king's castle",
    "big waterfall",
    "old lighthouse",
    "northern lights",
    "crystal lake",
    "golden city",
    "ancient temple",
]
PLANTS = [*KINDS["flower"], "pear tree", "apple tree", "plum tree", "bean plant", "rose bush"]
