"""Build an evaluation set from logs or a pool of questions: `python main.py cases build`.

records   what is asked for, the rows of the pool, and the finished set
pool      reads every layout of the product, and plain lists of questions
repeats   drops repeats, near-duplicates and what stands in the training data
topics    groups the questions by topic
drawing   draws by topic, and gives each case its side by its content
sizes     says how many cases find which gain
build     the steps in their order, each without side effects
files     writes the set, and keeps earlier versions of it
words     the set in words; picture and page show what it covers
synthetic has a judge write questions, which asking asks
personal  finds personal data, and masks them
folds     folds for small data; fold_files writes them
command   what a person typed
"""
